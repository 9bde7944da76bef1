"""The findings report: texts, tables, plots."""

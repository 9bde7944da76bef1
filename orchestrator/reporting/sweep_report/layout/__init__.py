"""How the report is written: blocks, charts, page and Markdown."""

"""The report of a sweep: from its history to sections, and from these to one HTML page and a Markdown file."""

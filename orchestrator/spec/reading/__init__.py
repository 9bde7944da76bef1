"""Reading YAML with places, and turning complaints into errors with file, line, field and mend."""

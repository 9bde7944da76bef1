"""Methods that train every weight."""

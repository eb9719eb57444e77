"""The power campaign of application files."""

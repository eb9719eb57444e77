"""What a file or a dump is, beside an RBL package, and which partition table a package is held against."""

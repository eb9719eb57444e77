"""What an application may hold: its files as one component, names that FAT keeps apart, no private key."""

"""Power campaigns: cut the power everywhere in the life of an update, and judge what the device makes of it."""

"""Words for each SYS_OTA_STATUS, by its number, for an application to print; a module of its own, for it takes heap."""

WORDS = (
    "idle,waiting for the network,waiting for the core,waiting for its time,check,check failed,available,not available,"
    "could not be triggered,factory reset,factory reset failed,rollback,rollback failed,no base for the patch,patch,"
    "patched,download,downloaded,download failed,verify,verified,not verified,verify the patch,patch verified,"
    "patch not verified,database entry,erase failed,erased,database full,none"
).split(",")

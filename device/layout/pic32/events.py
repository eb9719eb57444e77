"""The numbers of the vendor's service: SYS_OTA_STATUS for the callback, SYS_OTA_CTRLMSG, SYS_OTA_RESULT."""

IDLE, WAITING_FOR_NETWORK, WAITING_FOR_CORE, WAITING_FOR_TIME = 0, 1, 2, 3
CHECK_START, CHECK_FAILED, AVAILABLE, NOT_AVAILABLE, TRIGGER_FAILED = 4, 5, 6, 7, 8
FACTORY_RESET_SUCCESS, FACTORY_RESET_FAILED, ROLLBACK_SUCCESS, ROLLBACK_FAILED = 9, 10, 11, 12
DOWNLOAD_START, DOWNLOAD_SUCCESS, DOWNLOAD_FAILED = 16, 17, 18
VERIFY_START, VERIFY_SUCCESS, VERIFY_FAILED = 19, 20, 21
DB_ENTRY, ERASE_FAILED, ERASED, DATABASE_FULL = 25, 26, 27, 28
SUCCESS, FAILURE = 0, 1
REGISTER, CHECK, INITIATE, RESET, FACTORY_RESET, ROLLBACK = 0, 1, 2, 3, 4, 5

# What an application may print of a status.
WORDS = (
    "idle,waiting for the network,waiting for the core,waiting for its time,check,check failed,available,not available,"
    "could not be triggered,factory reset,factory reset failed,rollback,rollback failed,no base for the patch,patch,"
    "patched,download,downloaded,download failed,verify,verified,not verified,verify the patch,patch verified,"
    "patch not verified,database entry,erase failed,erased,database full,none"
).split(",")

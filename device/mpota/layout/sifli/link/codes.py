"""Results of the protocol, by number; 9 and 10 as the vendor's pages say them."""

OK, GENERAL, PARAMETER, NO_SPACE, NOT_READY, HW_VER, SDK_VER, FW_VER, FW_INVALID, CONTROL_INVALID, ONGOING = range(11)
USER_REJECT, UNEXPECTED, INDEX_ERROR, UPDATING, MISS_PACKET, FLASH = range(11, 17)

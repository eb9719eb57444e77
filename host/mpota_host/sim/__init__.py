"""A board without the board: strict flash, what ESP-IDF does on it, and a whole virtual ESP32 behind a pty."""

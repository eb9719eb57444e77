"""An ESP32, simulated: its flash, ESP-IDF, NVS, its loader's choice."""

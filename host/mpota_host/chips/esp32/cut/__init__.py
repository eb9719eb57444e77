"""What the power campaign asks of an ESP32."""

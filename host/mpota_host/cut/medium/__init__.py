"""What the power goes out on: a flash with its faulty cells, and what lies there when an operation is cut."""

"""What the parts of rover hand to each other: frozen values, and the names they use."""

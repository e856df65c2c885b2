"""What a run is made of: configuration, agent, workers, signals, the figures at its end."""

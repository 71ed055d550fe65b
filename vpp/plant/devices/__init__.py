"""One file a kind of device: its physics, restated from the equation, one minute at a time."""

"""Published and measured figures that the simulator is calibrated to."""

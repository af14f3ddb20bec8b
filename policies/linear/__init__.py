"""Ridge regression per action, on which LinUCB and linear Thompson sampling stand."""

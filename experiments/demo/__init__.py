"""The demonstration, SIMULATED: a shop where personalising pays, one where it does not, and a gate before both."""

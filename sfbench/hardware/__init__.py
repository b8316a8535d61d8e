"""The only room that asks torch, the drivers and the system about hardware."""

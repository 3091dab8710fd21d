"""`build(network_plan, ...)` -> nn.Module; one file a family."""

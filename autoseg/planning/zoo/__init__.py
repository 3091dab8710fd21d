"""Published approaches as recipes: small data files, each of which becomes one configuration of a plan."""

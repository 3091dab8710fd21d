"""What training takes of a machine: memory and time, predicted from the plan alone."""

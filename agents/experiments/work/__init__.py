"""What is run: workloads, their hands, and when requests come."""

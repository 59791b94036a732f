"""What every process of ours needs, service and worker alike: its configuration, its logs and its traces."""

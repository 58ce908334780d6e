"""Tools of other people's MCP servers, offered to the model beside Slurm's own."""

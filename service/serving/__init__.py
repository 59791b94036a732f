"""The server around the application: the socket, the bounds of a connection, the start and the end."""

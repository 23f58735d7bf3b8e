"""What is done around every request, before any route is known: ASGI middleware, one subject a file."""

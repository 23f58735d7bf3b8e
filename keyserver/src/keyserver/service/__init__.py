"""What the server does: create, bind, suspend and release keys; request and decide on grants."""

"""The OpenAPI document: what the framework derives from routes and models, and what it cannot know.

Everything here is a pure function of documents; nothing here answers a request.
"""

"""faceseal key server: keys, grants, releases, audit."""

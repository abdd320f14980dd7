/* For sanitizer builds: plugins stay loaded, so that leak reports can name them. */
int dlclose(void *handle);

int dlclose(void *handle) {
  (void)handle;
  return 0;
}

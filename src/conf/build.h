/** @file
 *  What this binary was built from, for --version, checkpoints and summaries. Room `conf`. */
#ifndef MXS_CONF_BUILD_H
#define MXS_CONF_BUILD_H

typedef struct mxs_build {
  const char *version;  /**< "0.1.0" */
  const char *creator;  /**< "mxsense 0.1.0": what files say of who wrote them */
  const char *commit;   /**< of the source tree, "unknown" where it was not under version control */
  const char *compiler; /**< name and version */
  const char *flags;    /**< of the build type, and those that every build has for its arithmetic */
  const char *scalapack; /**< version of ScaLAPACK, "" in a build without it */
} mxs_build;

/** Local. */
mxs_build mxs_build_get(void);

#endif

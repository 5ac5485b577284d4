# YK_PLUGIN_SWITCH(NAME, KIND, [TEST], [NEEDS])
# Adds --with-NAME=auto|yes|no. TEST is shell code that sets yk_found=yes or no (default: yes); NEEDS says
# in the table and the error what to install. Defines the conditional WITH_NAME and a line of the table.
AC_DEFUN([YK_PLUGIN_SWITCH], [
  m4_pushdef([yk_var], m4_translit([$1], [-], [_]))
  AC_ARG_WITH([$1],
    [AS_HELP_STRING([--with-$1=auto|yes|no], [build the $2 $1])],
    [], [with_[]yk_var=auto])
  AS_CASE([$with_[]yk_var], [yes|no|auto], [],
    [AC_MSG_ERROR([--with-$1=$with_[]yk_var: must be auto, yes or no])])
  yk_found=yes
  AS_IF([test "x$with_[]yk_var" != xno], [m4_default([$3], [:])])
  AS_IF([test "x$with_[]yk_var" = xno], [yk_use_[]yk_var=no; yk_why="switched off"],
        [test "x$yk_found" = xyes], [yk_use_[]yk_var=yes; yk_why=""],
        [test "x$with_[]yk_var" = xyes], [AC_MSG_ERROR([--with-$1=yes, but it needs $4])],
        [yk_use_[]yk_var=no; yk_why="needs $4"])
  AM_CONDITIONAL([WITH_]m4_toupper(yk_var), [test "x$yk_use_[]yk_var" = xyes])
  yk_table="$yk_table
  $(printf '%-16s %-16s %-4s %s' '$2' '$1' "$yk_use_[]yk_var" "$yk_why")"
  m4_popdef([yk_var])
])

# YK_FIND_BERKELEYDB
# Sets yk_found and BERKELEYDB_LIBS; Berkeley DB has no pkg-config file.
AC_DEFUN([YK_FIND_BERKELEYDB], [
  yk_saved_db_LIBS=$LIBS
  LIBS="$LIBS -ldb"
  AC_MSG_CHECKING([for Berkeley DB 5.3 or newer])
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#include <db.h>
#if DB_VERSION_MAJOR < 5 || (DB_VERSION_MAJOR == 5 && DB_VERSION_MINOR < 3)
#error too old
#endif
]], [[DB_ENV *env; return db_env_create(&env, 0);]])],
    [AC_MSG_RESULT([yes]); BERKELEYDB_LIBS=-ldb], [AC_MSG_RESULT([no]); yk_found=no])
  LIBS=$yk_saved_db_LIBS
  AC_SUBST([BERKELEYDB_LIBS])
])

#!/bin/sh
# A step of a ticket workflow: runs an operation and leaves its result for the ticket.
#
#   step.sh OPS-1234 backup comment='before the move'
#
# result.json is one document: who ran what, where and when, its exit code, and digests and ends of its output. It is there
# for an operation that failed, too. The step ends with the operation's own exit code; 125 means that this is not known.
set -u
ticket=$1
shift
bowline op --yes -o json -- "$@" > result.json
code=$?
case $code in
0) echo "$ticket: $1 is done" ;;
125) echo "$ticket: it is not known how $1 ended; look before you repeat it" ;;
*) echo "$ticket: $1 failed with $code" ;;
esac
exit $code

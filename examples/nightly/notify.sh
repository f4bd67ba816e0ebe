# Stands for a mail or a message in a chat: appends a line to a file.
set -eu
echo "$1" >> notices.txt

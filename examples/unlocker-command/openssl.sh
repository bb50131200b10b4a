#!/bin/sh
# An unlocker of kind `command`, to copy from: encrypts secretd's key with a key of its own through openssl. A real one
# asks a KMS or HSM instead; a key in a file on the same machine is no better than secretd's own key file.
#
#   secretctl unlocker add command /usr/local/lib/secretd/openssl.sh
set -eu
secret=/etc/secretd/kms.key # 64 hexadecimal digits, readable by secretd's user alone
key=$(cat "$secret")        # ends here, and says why, if it cannot

read -r line
value=$(printf %s "$line" | sed 's/.*:"\([^"]*\)"}$/\1/')
# AES in CBC mode is malleable; secretd notices, because the key must open what was sealed to it.
crypt() { openssl enc -aes-256-cbc -K "$key" -iv 00000000000000000000000000000000 "$@"; }
case $line in
  *'"operation":"wrap"'*) printf '{"wrapped":"%s"}\n' "$(printf %s "$value" | base64 -d | crypt -e | base64 -w0)" ;;
  *'"operation":"unwrap"'*) printf '{"key":"%s"}\n' "$(printf %s "$value" | base64 -d | crypt -d | base64 -w0)" ;;
  *) echo "an operation this script does not know" >&2; exit 1 ;;
esac

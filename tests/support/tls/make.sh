#!/usr/bin/env bash
# Makes the certificates of the tests' account, like those of AWS, all with RSA keys of 2,048 bits. A host shows its own,
# that of its authority (at AWS "Amazon RSA 2048 M01"), and that of the authority above ("Amazon Root CA 1") as an older
# root has signed it ("Starfield Services Root Certificate Authority - G2"). Clients know both roots. They are for
# this machine alone, and the key is no secret.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf '%s\n' '[ca]' 'default_ca=tests' '[tests]' "new_certs_dir=$work" "database=$work/index" "serial=$work/serial" \
  'default_md=sha256' 'policy=any' 'unique_subject=no' '[any]' 'organizationName=optional' 'commonName=supplied' \
  > "$work/ca"
touch "$work/index"
echo 1000 > "$work/serial"
authority=$'basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash'
between=$authority$'\nauthorityKeyIdentifier=keyid'
host=$'basicConstraints=CA:false\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth'
host+=$'\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nsubjectAltName=DNS:localhost'
for n in 1 2 3 4 5; do host+=",IP:127.0.0.$n"; done

certificate() { # NAME ISSUER EXTENSIONS SUBJECT [NAME_OF_KEY]
  local key=$work/${5:-$1}.key
  [ -e "$key" ] || openssl genrsa -out "$key" 2048 2>/dev/null
  openssl req -new -key "$key" -out "$work/$1.csr" -subj "$4"
  local issuer=(-cert "$work/$2.pem" -keyfile "$work/$2.key")
  [ "$1" != "$2" ] || issuer=(-selfsign -keyfile "$key")
  openssl ca -batch -notext -config "$work/ca" -startdate 20200101000000Z -enddate 21200101000000Z \
    -in "$work/$1.csr" "${issuer[@]}" -extfile <(printf '%s\n' "$3") -out "$work/$1.pem" 2>/dev/null
}

certificate old old "$authority" "/O=Tests of invalidator/CN=Old root"
certificate root root "$authority" "/O=Tests of invalidator/CN=Root CA 1"
certificate cross old "$between" "/O=Tests of invalidator/CN=Root CA 1" root
certificate lower root "$between" "/O=Tests of invalidator/CN=RSA 2048 M01"
certificate host lower "$host" "/CN=localhost"
cat "$work/root.pem" "$work/old.pem" > roots.pem
cat "$work/host.pem" "$work/lower.pem" "$work/cross.pem" > chain.pem
cp "$work/host.key" key.pem

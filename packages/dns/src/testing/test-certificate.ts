/** A key and a certificate for `dns.test` that sign nothing but tests. */

/** The key, PEM. */
export const testKey: string = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqlZfn38tLRwtLf8o
VWvgLqzQ1MtgGKtmStaVE7gYftmhRANCAAQpqR/7s4JfdD66ySA3qnz6809Ro1gz
aT86aSulTX+mciJrXYnuAl7AQ63PM5ucrluuHkD1frH+AYu2ZmlEurgB
-----END PRIVATE KEY-----
`

/** The certificate, PEM; its own authority. */
export const testCertificate: string = `-----BEGIN CERTIFICATE-----
MIIBkTCCATigAwIBAgIUUuOfzyt6GgbRQDSqANQp2VKWAYYwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIZG5zLnRlc3QwIBcNMjYxMTIzMjMxNTM1WhgPMjEyNjEwMzAy
MzE1MzVaMBMxETAPBgNVBAMMCGRucy50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEKakf+7OCX3Q+uskgN6p8+vNPUaNYM2k/OmkrpU1/pnIia12J7gJewEOt
zzObnK5brh5A9X6x/gGLtmZpRLq4AaNoMGYwHQYDVR0OBBYEFC+rEEpN/lPs/fnP
g+lMdFg4slklMB8GA1UdIwQYMBaAFC+rEEpN/lPs/fnPg+lMdFg4slklMA8GA1Ud
EwEB/wQFMAMBAf8wEwYDVR0RBAwwCoIIZG5zLnRlc3QwCgYIKoZIzj0EAwIDRwAw
RAIgf9kVOCWBNkNJwFo5IHKX64iG4pkz5R553BxVnVwI9ZICIHRALgZRZBtTyDvY
iUDZip6qRxXIMyWwjsM4WKq3DX6n
-----END CERTIFICATE-----
`

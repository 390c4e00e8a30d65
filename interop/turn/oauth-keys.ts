/** What the servers under test call themselves towards authorization servers (RFC 7635). */
export const oauthServerName = 'sluice.test'

/** The keys that `turnutils_uclient -J` was built with. Each Allocate and each Refresh takes one of them by chance. */
export const oauthKeys: readonly { readonly kid: string; readonly key: string; readonly cipher: string }[] = [
  { kid: 'north', key: '01234567890123456789012345678901', cipher: 'A256GCM' },
  { kid: 'union', key: '1234567890123456', cipher: 'A128GCM' },
  { kid: 'oldempire', key: '12345678901234567890123456789012', cipher: 'A256GCM' },
]

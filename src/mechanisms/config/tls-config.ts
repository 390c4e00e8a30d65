/** The `[media.tls]` section, every default filled in; what each key means is said in `tls-schema.ts`. */
export interface MediaTlsConfig {
  readonly certificates: readonly { readonly certFile: string; readonly keyFile: string }[]
  readonly acme?: AcmeConfig | undefined
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  readonly originCa?: string | undefined
  readonly originInsecure: boolean
}

export interface AcmeConfig {
  readonly directoryUrl: string
  readonly folder: string
  readonly domains: readonly string[]
  readonly email?: string | undefined
  readonly challenge: 'http-01' | 'tls-alpn-01'
  readonly externalAccount?: { readonly kid: string; readonly hmacKey: string } | undefined
  readonly ca?: string | undefined
}

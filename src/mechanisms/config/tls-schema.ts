import { z } from 'zod'
import { LIST_MAX, secret } from './fields.ts'
import type { AcmeConfig, MediaTlsConfig } from './tls-config.ts'

const file = z.string().min(1).max(4096)

const domain = z
  .string()
  .max(253)
  .regex(/^(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)+[a-z\d-]{2,63}$/i, {
    error: 'must be a domain name without a wildcard, such as live.example.com',
  })

const acmeSchema: z.ZodType<AcmeConfig> = z.strictObject({
  directoryUrl: z
    .url({ protocol: /^https?$/, error: 'must be a URL such as https://ca.example.com/directory' })
    .default('https://acme-v02.api.letsencrypt.org/directory')
    .describe('Directory of the authority. Try with its staging directory first.'),
  folder: file
    .default('acme')
    .describe('Folder in which account and certificate are kept, readable by their owner alone.'),
  domains: z
    .array(domain)
    .min(1)
    .max(100)
    .describe('Names of the one certificate. Each must lead to this gateway. No wildcards.'),
  email: z.email().optional().describe('Whom the authority may write to.'),
  termsOfServiceAgreed: z
    .literal(true, { error: "must be true: read the authority's terms of service first" })
    .describe('Says that you agree to the terms of service of the authority.'),
  challenge: z
    .enum(['http-01', 'tls-alpn-01'])
    .default('http-01')
    .describe(
      'How the names are proven: `http-01` asks at port 80, which `media.http.listen` must serve; `tls-alpn-01` at port 443, which `media.http.secureListen` must serve.',
    ),
  externalAccount: z
    .strictObject({
      kid: z.string().min(1).max(1024).describe('Its key identifier.'),
      hmacKey: secret.describe('Its key, in base64url.'),
    })
    .optional()
    .describe('An account that the authority knows otherwise and wants ours bound to.'),
  ca: file
    .optional()
    .describe('File of authorities (PEM) that the directory may be signed by, besides the public ones.'),
})

export const mediaTlsSchema: z.ZodPrefault<z.ZodType<MediaTlsConfig>> = z
  .strictObject({
    certificates: z
      .array(
        z.strictObject({
          certFile: file.describe('Certificate chain (PEM). Read again when it changes.'),
          keyFile: file.describe('Its private key (PEM).'),
        }),
      )
      .max(LIST_MAX)
      .default([])
      .describe(
        'Certificates of HTTPS and RTMPS, told apart by the name that a client asks for. The first is shown to clients that ask for none. Without any, and while `acme` has none yet, one that signs itself stands in.',
      ),
    acme: acmeSchema
      .optional()
      .describe('Has a certificate from an authority by ACME, and renews it. Absent: none.'),
    minVersion: z
      .enum(['TLSv1.2', 'TLSv1.3'])
      .default('TLSv1.2')
      .describe('The least version of TLS that clients may speak.'),
    originCa: file
      .optional()
      .describe(
        'File of authorities (PEM) that origins may be signed by, besides the public ones. Read at the start.',
      ),
    originInsecure: z
      .boolean()
      .default(false)
      .describe('Takes any certificate of an origin, and so anybody in between. For tests.'),
  })
  .prefault({})

import { z } from 'zod'
import type { VisitorConfig } from './config.ts'
import { flag, issue, nameOf, positive, required, secret, text } from './fields.ts'

/** A visitor with whether it is to run. */
export interface VisitorEntry {
  readonly enabled: boolean
  readonly config: VisitorConfig
}

const visitorTypes = ['stcp', 'sudp'] as const

export const visitorSchema: z.ZodType<VisitorEntry> = z
  .strictObject({
    name: required('name is required').describe('Name of the visitor; unique.'),
    type: z
      .enum(visitorTypes, {
        error: ({ input }) => `unknown visitor type: ${nameOf(input)}; allowed: ${visitorTypes.join(', ')}`,
      })
      .describe('That of the proxy it leads to.'),
    enabled: z.boolean().default(true).describe('Whether it runs.'),
    transport: z
      .strictObject({
        useEncryption: flag.describe('Encrypts the way to the server with `secretKey`.'),
        useCompression: flag.describe('Compresses it (snappy).'),
      })
      .prefault({}),
    secretKey: secret.describe('That of the proxy.'),
    serverUser: text().describe('`user` of the client that has the proxy. Empty: the own one.'),
    serverName: text().describe('Name of the proxy there.'),
    bindAddr: text('127.0.0.1').describe('Address on which the service is offered here.'),
    bindPort: z
      .int()
      .min(-65_535)
      .max(65_535)
      .default(0)
      .describe('Its port. Below 0: none, the visitor is only what another falls back to (stcp).'),
    fallbackTo: text().describe(
      'Visitor that takes over when the server refuses or does not answer (stcp). Empty: none.',
    ),
    fallbackTimeoutMs: positive(1_000).describe('Milliseconds after which it takes over.'),
  })
  .check(({ value, issues }) => {
    if (value.serverName === '') issues.push(issue(['serverName'], 'server name is required'))
    if (value.bindPort === 0) issues.push(issue(['bindPort'], 'bind port is required'))
    if (value.type === 'sudp' && value.bindPort < 0)
      issues.push(issue(['bindPort'], 'must be over 0 for type sudp'))
    if (value.fallbackTo !== '' && value.type !== 'stcp') {
      issues.push(issue(['fallbackTo'], `is for type stcp, not ${value.type}`))
    }
    if (value.fallbackTo !== '' && value.fallbackTo === value.name) {
      issues.push(issue(['fallbackTo'], 'must be another visitor'))
    }
  })
  .transform(({ enabled, ...config }) => ({ enabled, config }))

import { z } from 'zod'
import { execSourceKeys, tunnelClientSchema, tunnelServerSchema } from '../frp-config/index.ts'
import type { TunnelConfig } from './tunnel-config.ts'

/** frp's own keys, so that a configuration of frps or frpc moves into the section as it is. */
export const tunnelSchema: z.ZodType<TunnelConfig> = z
  .strictObject({
    server: tunnelServerSchema
      .optional()
      .describe('A tunnel server, as frps is one, with the keys of `frps.toml`. Absent: there is none.'),
    client: tunnelClientSchema
      .optional()
      .describe('A tunnel client, as frpc is one, with the keys of `frpc.toml`. Absent: there is none.'),
  })
  .check(({ value, issues }) => {
    for (const side of ['server', 'client'] as const) {
      const section = value[side]
      // A configuration file is not to start programs; frp asks for --allow-unsafe.
      for (const key of execSourceKeys(section)) {
        const path = [side, ...key, 'type']
        issues.push({
          code: 'custom',
          path,
          input: 'exec',
          message: 'exec is not allowed here; must be "file"',
        })
      }
    }
  })
  .transform(({ server, client }) => ({ server, client }))
  .prefault({})

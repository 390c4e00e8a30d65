import { z } from 'zod'
import type { AuthScope, LogConfig, ValueSource, WebServerConfig } from './config.ts'
import { flag, issue, oneOf, port, positive, secret, text } from './fields.ts'

/** Sections that frps and frpc have in common. */

export const logSchema: z.ZodType<LogConfig> = z
  .strictObject({
    to: text('console').describe('A file, or `console` for standard output.'),
    level: oneOf(['trace', 'debug', 'info', 'warn', 'error'])
      .default('info')
      .describe('Least level that is written.'),
    maxDays: positive(3).describe('Days for which old log files are kept.'),
    disablePrintColor: flag.describe('Whether lines on standard output have no colours.'),
  })
  .prefault({})

export const webServerSchema: z.ZodType<WebServerConfig> = z
  .strictObject({
    addr: text('127.0.0.1').describe('Address of the web server: dashboard or admin page, API, metrics.'),
    port: port(0).describe('Its port. 0: no web server.'),
    user: text().describe('Name for Basic authentication. With `password` empty as well: none is asked for.'),
    password: secret.describe('Its password.'),
    tls: z
      .strictObject({
        certFile: text().describe('Certificate chain (PEM).'),
        keyFile: text().describe('Its key.'),
      })
      .check(({ value, issues }) => {
        for (const key of ['certFile', 'keyFile'] as const) {
          if (value[key] === '') issues.push(issue([key], `tls.${key} must be specified when tls is enabled`))
        }
      })
      .optional()
      .describe('Serves HTTPS with this certificate. Absent: HTTP.'),
  })
  .transform(({ tls, ...rest }) => ({ ...rest, tls }))
  .prefault({})

export const authMethodSchema: z.ZodDefault<z.ZodEnum<{ token: 'token'; oidc: 'oidc' }>> = oneOf([
  'token',
  'oidc',
]).default('token')

export const additionalScopesSchema: z.ZodDefault<z.ZodArray<z.ZodEnum<{ [Scope in AuthScope]: Scope }>>> = z
  .array(oneOf(['HeartBeats', 'NewWorkConns']))
  .max(16)
  .default([])
  .describe('Messages besides the login that carry proof as well. The same on both sides.')

const envName = z.string().regex(/^[^=]+$/, { error: 'must not be empty nor contain "="' })

const sourceShape = z.strictObject({
  type: oneOf(['file', 'exec']).describe('`file`, or `exec` for the output of a program.'),
  file: z
    .strictObject({ path: z.string().min(1, { error: 'file path cannot be empty' }).describe('The file.') })
    .optional()
    .describe('Where the secret is with `file`; white space around it is dropped.'),
  exec: z
    .strictObject({
      command: z.string().min(1, { error: 'exec command cannot be empty' }).describe('The program.'),
      args: z.array(z.string()).max(1_000).default([]).describe('Its arguments.'),
      env: z
        .array(z.strictObject({ name: envName, value: z.string() }))
        .max(1_000)
        .default([])
        .describe('Its environment, besides that of this process.'),
    })
    .optional()
    .describe(
      'What is run with `exec`. Only in the commands `frps` and `frpc`, with `--allow-unsafe TokenSourceExec`.',
    ),
})

export const valueSourceSchema: z.ZodType<ValueSource> = sourceShape.transform(
  (source, context): ValueSource => {
    if (source.type === 'file' && source.file !== undefined) return { type: 'file', file: source.file }
    if (source.type === 'exec' && source.exec !== undefined) return { type: 'exec', exec: source.exec }
    context.issues.push(
      issue([source.type], `${source.type} configuration is required when type is '${source.type}'`),
    )
    return z.NEVER
  },
)

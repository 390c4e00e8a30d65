import { createHash, X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { delimiter, join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'

/**
 * A real Chromium without a window, with a fake camera and microphone that need no permission.
 *
 * @param trusted certificates in PEM that it takes as they are, also for TURN over TLS; it refuses others that nobody vouches for
 */
export async function startBrowser(trusted: readonly string[] = []): Promise<Browser> {
  return await chromium.launch({
    executablePath: findOnPath('chromium'),
    headless: true,
    chromiumSandbox: false,
    args: [
      '--use-fake-device-for-media-stream',
      '--use-fake-ui-for-media-stream',
      '--autoplay-policy=no-user-gesture-required',
      // Our media runs over 127.0.0.1, which WebRTC otherwise leaves out.
      '--allow-loopback-in-peer-connection',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-gpu',
      '--disable-quic',
      '--disable-sync',
      '--no-first-run',
      ...(trusted.length > 0
        ? [`--ignore-certificate-errors-spki-list=${trusted.map(publicKeyHash).join()}`]
        : []),
    ],
  })
}

/**
 * An empty page of an origin of its own, so that requests to the gateway are cross-origin, and loopback, so
 * that it may use the camera. Errors of the page end up in `errors`.
 */
export async function openBlankPage(
  browser: Browser,
): Promise<AsyncDisposable & { readonly page: Page; readonly errors: readonly string[] }> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><title>blank</title>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const page = await browser.newPage()
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(String(error)))
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  return {
    page,
    errors,
    [Symbol.asyncDispose]: async () => {
      await page.close()
      server.close()
      server.closeAllConnections()
    },
  }
}

function publicKeyHash(certificate: string): string {
  const key = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(key).digest('base64')
}

function findOnPath(command: string): string {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, command)
    if (existsSync(path)) return path
  }
  throw new Error(`${command} is not on the PATH; \`node tools/prepare.mjs --test\` installs it`)
}

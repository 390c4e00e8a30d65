import preact from '@preact/preset-vite'
import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  plugins: [preact()],
  build: {
    outDir: '../dist/console',
    emptyOutDir: true,
    // mpegts.js, loaded only by those who watch HTTP-FLV.
    chunkSizeWarningLimit: 800,
  },
  server: {
    // `vite console` beside a running gateway.
    proxy: Object.fromEntries(
      ['^/api/', '^/[^/]+/[^/]+/(whip|whep)$', '^/rtc/', '\\.flv$'].map((path) => [
        path.startsWith('^') ? path : `^.*${path}`,
        'http://127.0.0.1:8080',
      ]),
    ),
  },
})

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
})

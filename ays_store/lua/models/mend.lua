local function mend_models()
  for _, key in ipairs({ MODELS, MODEL_SOURCES, FINGERPRINTS }) do mend(key, 'hash') end
  mend(MODEL_INDEX, 'zset')
end

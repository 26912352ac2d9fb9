def caller(model, forward=None):
    def call(batch):
        if forward is not None: return forward(model, batch.value)
        x = batch.inputs
        return model(**x) if isinstance(x, dict) else model(x)
    return call
